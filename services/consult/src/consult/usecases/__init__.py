"""What the consult service does: the case from application to its end, and the hospitals that can be asked."""

from consult.usecases.attachments import Attachments
from consult.usecases.consults import Consults
from consult.usecases.discussion import Discussion
from consult.usecases.drafts import Drafts
from consult.usecases.keep_hospital import keep_hospital
from consult.usecases.outgoing import SERVICE
from consult.usecases.views import CaseView

__all__ = ["SERVICE", "Attachments", "CaseView", "Consults", "Discussion", "Drafts", "keep_hospital"]
