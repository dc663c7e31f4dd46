"""What the consult service does: the case from application to its end, and the hospitals that can be asked."""

from consult.usecases.consults import Consults
from consult.usecases.keep_hospital import keep_hospital
from consult.usecases.outgoing import SERVICE

__all__ = ["SERVICE", "Consults", "keep_hospital"]
