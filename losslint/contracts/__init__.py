"""What libraries do, as data: shared by the interpreter and the runtime side."""
