"""The reference model MS-iMamba and its checkpoint."""
