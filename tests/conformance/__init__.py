"""One file per specification, with a test for each MUST and SHOULD that applies to Valetkey."""
