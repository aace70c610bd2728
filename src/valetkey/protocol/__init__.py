"""Values and checks defined by the RFCs, as pure code: no Flask, no SQL, no clock, no network."""
