"""DICOM in: the one gate that every instance passes, what it yields, and a hardened association server."""

from imaging_common.dicom.errors import RejectedInstance
from imaging_common.dicom.gate import CheckedInstance, check_instance
from imaging_common.dicom.pixels import NativeLayout

__all__ = ["CheckedInstance", "NativeLayout", "RejectedInstance", "check_instance"]
