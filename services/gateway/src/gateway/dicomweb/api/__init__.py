"""The DICOMweb resources."""
