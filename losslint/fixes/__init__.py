"""From what a rule wants done to edits of the text; the only room that works on the syntax tree's layout."""
