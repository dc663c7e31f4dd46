"""Whose records this EHR keeps, and who works with it: all made up, in memory."""

from dataclasses import dataclass, field
from datetime import date


@dataclass(frozen=True, slots=True)
class Doctor:
    """Somebody who sits before the EHR."""

    user: str
    name: str
    hospital: str


@dataclass(slots=True)
class Resident:
    """A resident's record, without images."""

    id: str
    name: str
    latin: str
    sex: str
    birth_date: str
    """ISO 8601."""
    allergies: str = ""
    problems: str = ""
    patients: dict[str, str] = field(default_factory=dict)
    """Patient id by hospital, as the EHR has linked them."""

    def age(self, today: date) -> int:
        """Whole years."""
        born = date.fromisoformat(self.birth_date)
        return today.year - born.year - ((today.month, today.day) < (born.month, born.day))


DOCTORS = (
    Doctor("doctor.community", "陈建国", "community"),
    Doctor("doctor.tertiary", "王丽华", "tertiary"),
    Doctor("doctor.tcm", "李国强", "tcm"),
)
HOSPITALS = {
    "community": ("塘桥社区卫生服务中心", "Tangqiao Community Hospital"),
    "secondary": ("第一人民医院", "First People's Hospital"),
    "tertiary": ("市中心医院", "City Central Hospital"),
    "tcm": ("中医医院", "Hospital of Traditional Chinese Medicine"),
}


def sample_residents() -> dict[str, Resident]:
    """By id."""
    people = (
        Resident("R-0001", "王小东", "Wang Xiaodong", "M", "1968-03-12", "青霉素", "右肺结节随访"),
        Resident("R-0002", "欧阳娜", "Ouyang Na", "F", "1959-11-02", "", "2 型糖尿病；高血压"),
        Resident("R-0003", "李建华", "Li Jianhua", "M", "1982-07-25", "", "腰椎间盘突出"),
        Resident("R-0004", "赵文静", "Zhao Wenjing", "F", "1991-01-18", "碘对比剂", "偏头痛"),
        Resident("R-0005", "孙德福", "Sun Defu", "M", "1947-05-30", "", "慢性阻塞性肺疾病"),
    )
    return {resident.id: resident for resident in people}
