"""The only package that contains SQL: table definitions, database engines, a module for each kind of row, migrations.

Functions that take a ``Store`` read from the database at once. Functions that return a ``BoundStatement`` only build an
SQL statement with its parameters; ``Store.write`` runs it as part of a ``Transaction``.

Some statements are to be run as a transaction's condition. Such a *conditional write* changes exactly one row if it
succeeds, and none if it does not. If several processes run it at the same time, the database lets one of them succeed.
"""
