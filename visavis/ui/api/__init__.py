"""The server that programs talk to: REST for sessions, personas and library, a WebSocket for each session's events.

access    who may come in: a token, and the pages of named origins
limits    how much: sessions, requests, events, bytes, idle time
sessions  the sessions of this server, by id
rest      requests and answers, described by OpenAPI
socket    events in both directions
figures   what Prometheus reads
app       all of it as one application
"""
