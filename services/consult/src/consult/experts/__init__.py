"""Experts: department, sub-specialties, and the roster of who is on duty; people themselves come from the directory."""

from consult.experts.api import build_experts_api
from consult.experts.model import Expert, FoundExpert, Hours
from consult.experts.usecases import Experts

__all__ = ["Expert", "Experts", "FoundExpert", "Hours", "build_experts_api"]
