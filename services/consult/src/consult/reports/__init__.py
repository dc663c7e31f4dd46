"""Reports: templates, versions and their difference, signing, what is made of an issued version and where it goes."""
