"""A hospital's EHR, small: residents, their studies and reports by FHIR, the viewer in a frame, orders, SMART launch.

It stands for the EHRs that subscribe to the region, on an origin of its own. Everybody in it is made up.
"""
