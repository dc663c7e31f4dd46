"""ICD-10: codes with English titles (ICD-10-CM, public domain) and Chinese names (written here), searched in memory."""

from consult.icd10.api import build_icd10_api
from consult.icd10.catalogue import Code, Icd10

__all__ = ["Code", "Icd10", "build_icd10_api"]
