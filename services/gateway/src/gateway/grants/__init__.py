"""What opens studies beside the own hospital and cases: windows of EHRs, share links, broken glass."""
