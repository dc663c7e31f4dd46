"""`region hospitals`: who belongs to the region, and what the index has of each."""

from imaging_operate import servers
from imaging_operate.cli import app
from imaging_operate.console import AsJson, State, region, show_rows

COLUMNS = ("hospital", "level", "tier", "revision", "studies", "instances", "legal_hold", "last_announcement")


@app.command()
def hospitals(state: State = None, as_json: AsJson = False) -> None:
    """The hospitals of the registry."""
    with region(state) as settings, servers.mongo(settings) as client:
        listed = {"instance_count": {"$gt": 0}, "withdrawn": {"$ne": True}, "deleted": {"$ne": True}}
        group = {"_id": "$holder", "studies": {"$sum": 1}, "instances": {"$sum": "$instance_count"}}
        counted = {
            one["_id"]: one for one in client["index"]["studies"].aggregate([{"$match": listed}, {"$group": group}])
        }
        told = {one["_id"]: one["at"] for one in client["gateway"]["announcements"].find()}
        rows = [
            {
                "hospital": one["_id"],
                **{name: one.get(name) for name in ("name_en", "name_zh", "level", "tier", "revision", "legal_hold")},
                "studies": counted.get(one["_id"], {}).get("studies", 0),
                "instances": counted.get(one["_id"], {}).get("instances", 0),
                "last_announcement": told[one["_id"]].isoformat(timespec="seconds") if one["_id"] in told else None,
            }
            for one in client["gateway"]["hospitals"].find().sort("_id", 1)
        ]
        show_rows("Hospitals", rows, COLUMNS, as_json=as_json)
