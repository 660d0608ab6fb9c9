"""The ledger: database, models, queries, migrations. With the `queries` modules, the only rooms that know SQL."""
