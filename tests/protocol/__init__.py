"""The RFCs' words as pure values: vectors of their appendices, grammars, refusals."""
