"""All the planted mistakes, in the order of the chapters."""

from . import defects
from .gaussian_defects import GAUSSIAN_DEFECTS
from .imitation_defects import IMITATION_DEFECTS
from .model_defects import MODEL_DEFECTS
from .sac_defects import SAC_DEFECTS
from .study_defects import STUDY_DEFECTS
from .trust_defects import TRUST_DEFECTS
from .value_defects import VALUE_DEFECTS

DEFECTS = (
    defects.DEFECTS
    + GAUSSIAN_DEFECTS
    + TRUST_DEFECTS
    + VALUE_DEFECTS
    + SAC_DEFECTS
    + IMITATION_DEFECTS
    + MODEL_DEFECTS
    + STUDY_DEFECTS
)
