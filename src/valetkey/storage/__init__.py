"""The only package that contains SQL: table definitions, database engines, a module for each kind of row, migrations.

Functions that take a ``Store`` read from it at once. Functions that return a ``BoundStatement`` only build a statement;
it runs when it is written as part of a ``Transaction``.

A *conditional write* is a statement that fits as the condition of a ``Transaction``: it changes exactly one row if its
conditions hold, else none. If several processes run it at the same time, the database lets one of them succeed.
"""
