"""What a region says after its stores were made anew or put back is newer than everything it said before."""

from datetime import datetime

from imaging_operate.servers import Mongo
from imaging_operate.topology import DATABASES

SKIPPED_CONSULTS = 1000
"""More than a region has in a day."""
SKIPPED_EVENTS = 1_000_000
"""More than an organisation's feed has between two backups."""


def raise_index_epoch(client: Mongo) -> int:
    """Of all studies; the indexer reads it when it starts. The new epoch."""
    meta = client[DATABASES["indexer"]]["meta"]
    meta.update_one({"_id": "epoch"}, {"$inc": {"epoch": 1}}, upsert=True)
    return int((meta.find_one({"_id": "epoch"}) or {})["epoch"])


def raise_case_epochs(client: Mongo) -> int:
    """Of every consult: steps after the backup are forgotten, others know them. How many cases there are."""
    raised = {"$set": {"epoch": {"$add": [{"$ifNull": ["$epoch", 1]}, 1]}}}
    return client[DATABASES["consult"]]["consults"].update_many({}, [raised]).matched_count


def skip_consult_numbers(client: Mongo, now: datetime) -> None:
    """Consults of today that are forgotten keep their numbers: reports and e-mails bear them."""
    numbers = client[DATABASES["consult"]]["numbers"]
    numbers.update_one({"_id": f"{now:%Y%m%d}"}, {"$inc": {"n": SKIPPED_CONSULTS}}, upsert=True)


def skip_feed_numbers(client: Mongo) -> None:
    """Events that are forgotten keep their numbers: a subscriber passes over what is not greater than the last it has.

    Who had everything has everything: what lies between the old and the new number is nobody's backlog.
    """
    database = client[DATABASES["notification"]]
    for organisation in database["organisations"].find({}, {"_id": 1}):
        mine = {"_id": organisation["_id"]}
        newest = (database["feed.heads"].find_one(mine) or {"newest": 0})["newest"]
        goes_on = newest + SKIPPED_EVENTS
        database["feed.heads"].update_one(mine, {"$set": {"newest": goes_on}}, upsert=True)
        database["feed.published"].update_one({**mine, "seq": newest}, {"$set": {"seq": goes_on}})
        database["subscriptions"].update_many(
            {"organisation": organisation["_id"], "cursor": newest}, {"$set": {"cursor": goes_on}}
        )
