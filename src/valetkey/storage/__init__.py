"""The only room that speaks SQL: tables, engines, one file per aggregate, migrations."""
