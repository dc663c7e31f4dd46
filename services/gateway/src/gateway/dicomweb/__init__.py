"""DICOMweb: QIDO-RS and WADO-RS over the index and the object store."""

from gateway.dicomweb.router import build_dicomweb_router

__all__ = ["build_dicomweb_router"]
