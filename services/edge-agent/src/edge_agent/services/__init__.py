"""The services AE: what the hospital's DICOM workstations and modalities ask of the agent, all but C-STORE.

Query/Retrieve over the region (PS3.4 C), modality worklist (K), storage commitment (J), instance availability notices
(R). A process of its own (`__main__.py`), so that slow peers and data sets stay away from the agent's event loop.
"""
