"""Tests of ``valetkey.protocol``: test vectors of the RFCs, grammars and refusals."""
