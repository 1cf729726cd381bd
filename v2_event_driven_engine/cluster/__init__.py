"""The engine on a replicated log: the same matcher, sequencer and events on several machines.

    entry            the bytes of one message of the log
    stream           what is asked of a replicated stream, and how to append without a doubt
    replicated_log   an `EventLog` on a stream: whoever appended last is the one writer
    sessions         clients and their answers: a request that is repeated acts once
    replica          a node's state: matcher, sessions, and the events that are to be published
    node             the life of a node: standby, takeover, active
    protocol         requests and replies between clients and nodes
    snapshots        where a node goes on from when it is started again
    jetstream        streams and the lease of NATS JetStream: the only module that knows NATS
    servers          the servers' configuration, and servers as child processes
    service          the process of a node
    local            servers and nodes on one machine, for trying

    session          a client's side of the requests: numbers, repeats, answers
    table            which partition has which symbol
    client           the engine's Python API, with the engine on other machines
    connect          from the address of a server to a client
    drop_copy        each participant's events, numbered
    backup           the log as a log in files, and back
    verification     a fresh replay, held against everything else

Nothing outside of this folder and its command line imports it. Without the extra `cluster`, what
imports `jetstream` cannot be imported: `connect`, `service` and `local`.
"""
