"""What the edge agent's use cases need from outside, by topic."""

from edge_agent.ports.centre import CatalogueDoor, Centre, ReportCentre, StoreAnswer
from edge_agent.ports.journal import BuildAnnouncement, OutgoingEvent, OutgoingEvents, SpoolFiles, StudyJournal
from edge_agent.ports.pacs import PacsContents, PacsEcho, PacsHealth, PacsQuery, Slots
from edge_agent.ports.reports import MessageLog, Orders, ReportQueue
from edge_agent.ports.retrieval import MigrationLog, PacsRetriever, RetrievalLog, RetrievedFiles
from edge_agent.ports.watch import Announced, HeaderQueue, PacsCounts, PacsKnowledge, SweepNews
from edge_agent.ports.write_back import CentreObjects, PacsStore, WriteBackLog, WrittenBack

__all__ = [
    "Announced",
    "BuildAnnouncement",
    "CatalogueDoor",
    "Centre",
    "CentreObjects",
    "HeaderQueue",
    "MessageLog",
    "MigrationLog",
    "Orders",
    "OutgoingEvent",
    "OutgoingEvents",
    "PacsContents",
    "PacsCounts",
    "PacsEcho",
    "PacsHealth",
    "PacsKnowledge",
    "PacsQuery",
    "PacsRetriever",
    "PacsStore",
    "ReportCentre",
    "ReportQueue",
    "RetrievalLog",
    "RetrievedFiles",
    "Slots",
    "SpoolFiles",
    "StoreAnswer",
    "StudyJournal",
    "SweepNews",
    "WriteBackLog",
    "WrittenBack",
]
