"""Recording a source into a session folder, with markers, cues and keys."""
