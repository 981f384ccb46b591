"""Which node of an exported file is the first whose values differ from the reference's."""
