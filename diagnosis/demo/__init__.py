"""Made-up patients and drawn fundus photographs, for the demo and for tests. No Django, no real picture."""
