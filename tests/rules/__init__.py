"""Rules that the house keeps: documented settings, migrations, walls, help."""
