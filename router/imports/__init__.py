"""CSV files of what people have consented to: read, checked row by row, put into the store, gone on with."""
