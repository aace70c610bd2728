"""The words of the RFCs as pure values and checks: no Flask, no SQL, no clock, no network."""
