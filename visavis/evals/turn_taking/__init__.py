"""Turn taking on scripted two-channel audio: who has the floor, and how fast and how rightly that is noticed."""
