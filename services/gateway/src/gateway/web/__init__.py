"""How the portal looks: templates, catalogues, static files."""
