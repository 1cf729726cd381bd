/* The takeover: three replicas and one log, which one replica at a time may append to.

   What it abstracts (v2_event_driven_engine/cluster/)
     stream.py          append                                    replica: append
     replicated_log.py  start, append                             replica: standby; apply
     node.py            _take_over, _follow                       replica: standby
                        _serve, _carry_out, _append               replica: current
     sessions.py        last_number, answer, note                 know, knows, answer
   The log accepts an entry only where the appender expects it: that comparison is the fence. The
   outcome of an attempt may be lost, and so may the attempt; or it arrives late, even after the
   replica that made it has crashed. A crash may come between any two steps. A replica that was
   deposed and goes on (a zombie) needs nothing of its own here: any replica may pause for as long
   as it likes before its next step.

   The lease is only a hint, so here any replica may bid at any time, whoever holds it. A standby
   has a state here only once it bids: it has read the log as it was at that moment. The state of a
   replica is the beginning of the log that it has applied: a length, an epoch, its sessions.
   A client repeats what it sent until it has the answer; a request may arrive at any replica, at
   any time, any number of times. An answer may come late or never. A request that is in the
   sessions is answered here without an append, which allows more than the source does.

   Bounds: 3 replicas, 3 takeovers (the first one included); client A with two requests, one after
   the other, client B with one; 6 entries in the log. With -DQUESTION: one request, one question
   at any moment, 5 entries. One attempt at a time is on its way, late.

   Left out: replication inside the log (what it accepted stays: that is its promise, not checked
   here); several requests in one entry; the stream of outcomes; snapshots; two processes of one
   name; whether a takeover comes at all, and how soon.

   Claims
     1. An acknowledged command is in the log, within what the replica that answers has applied.
     2. No command is in the log twice, so none is applied twice.
     3. What a replica applies is what the log holds at that place: all states are beginnings of
        one log.
     4. No entry of an older epoch comes after one of a newer epoch.
     5. A current question is answered from a state with all that was in the log when it was asked:
        every command acknowledged by then, and no epoch older than one that had answered.

   Planted mistakes: ANSWER_BEFORE_APPEND, LEASE_ALONE, NO_COMPARISON, SESSIONS_NOT_REPLICATED; with
   QUESTION: NO_BARRIER. With CERTAIN no outcome is lost and nothing is late: all of these but
   NO_COMPARISON are found even then. */

#define REPLICAS 3
#define EPOCHS   3
#ifdef QUESTION
#define PLACES   5
#else
#define PLACES   6
#endif

mtype = { EPOCH, BARRIER, A1, A2, B1 }   /* what an entry is; the last three are commands */

typedef Entry { mtype what; byte who, epoch }
Entry log[PLACES];
byte length;                             /* entries in the log */
chan late = [1] of { mtype, byte, byte }; /* an attempt that will arrive after all, or never */
byte bidders;                            /* replicas are alike: let their first bids be in order */

bool answered[6];                        /* by command: whether its client has the answer */
bool asked, replied;                     /* the question */
byte floor;                              /* what was in the log when it was asked */
bool waits[REPLICAS], due[REPLICAS];     /* for the append; to be answered: the append is known */

#ifdef LEASE_ALONE
byte lease = REPLICAS;                   /* nobody's */
#define may_append (lease == me)
#else
#define may_append true
#endif

#define know(w)            known = known | (1 << (w))
#define knows(w)           (known & (1 << (w)))
#define same(i, w, n, e)   (log[i].what == w && log[i].who == n && log[i].epoch == e)
#define is_command(w)      (w == A1 || w == A2 || w == B1)

inline arrive(expected, w, n, e) {       /* an attempt, at the log */
#ifdef LEASE_ALONE
    accepted = length < PLACES;
#else
    accepted = length == expected;       /* the fence */
#endif
    if
    :: accepted ->
        for (i : 0 .. PLACES - 1) {
            assert(i >= length || !is_command(w) || log[i].what != w)                /* claim 2 */
        }
        i = 0;
        assert(length == 0 || e >= log[length - 1].epoch);                           /* claim 4 */
        log[length].what = w;
        log[length].who = n;
        log[length].epoch = e;
        length++;
        do                               /* what else is on its way will be refused, unheard */
        :: late ? _, _, _
        :: empty(late) -> break
        od
    :: else
    fi
}

inline apply() {
    assert(same(applied, what, me, epoch));                                          /* claim 3 */
    applied++;
    know(what);
    what = 0;
    due[me] = waits[me];
    waits[me] = false
}

inline acknowledge(w) {
    printf("replica %d | answers %e\n", me, w);
    for (i : 0 .. PLACES - 1) {
        if
        :: i < applied && log[i].what == w -> break
        :: else
        fi
    }
    assert(i < applied);                                                             /* claim 1 */
    i = 0;
    answered[w] = true
}

inline reply() {
    printf("replica %d | answers the question: its log ends at %d\n", me, applied);
    assert(applied >= floor);                                                        /* claim 5 */
    replied = true;
    floor = 0;
    for (i : 0 .. REPLICAS - 1) { waits[i] = false; due[i] = false }
    i = 0
}

inline crash() {                         /* also the end of one that is fenced */
    applied = 0; epoch = 0; known = 0; what = 0; waits[me] = false; due[me] = false
}

/* Begin an append. A question that came before it waits for it. */
#define begin(w, condition) \
    atomic { \
        applied < PLACES && may_append && (condition) -> \
        printf("replica %d | is about to append %e at %d\n", me, w, applied + 1); \
        what = w; waits[me] = asked && !replied; due[me] = false; goto append \
    }

/* What the sessions have is answered, again if need be; to the client it is news once. */
#define answer(w) \
    d_step { knows(w) && !answered[w] -> acknowledge(w) }

active proctype network() {
    mtype w;
    byte n, e, i;
    bool accepted;
end:
    do
    ::  d_step {
        late ? w, n, e ->
        printf("log | %e of replica %d arrives late: accepted at %d\n", w, n, length + 1);
        arrive(length, w, n, e);
        w = 0; n = 0; e = 0; accepted = false
       }
    ::  late ? _, _, _
#ifdef LEASE_ALONE
    ::  d_step {
        lease != REPLICAS ->
        printf("log | the lease of replica %d runs out\n", lease);
        lease = REPLICAS
       }
#endif
    od
}

#ifdef QUESTION
active proctype asker() {
end:
    d_step {
        asked = true;
        floor = length;
        printf("asker | asks: the log ends at %d\n", length)
    }
}
#endif

proctype replica(byte me) {
    byte applied, epoch, known;          /* its state; `known` are the commands in its sessions */
    mtype what;                          /* what it appends */
    byte i;
    bool accepted;

standby:
end:
    atomic {                             /* bids, and has read all; the log may grow right after */
#ifdef LEASE_ALONE
        lease == REPLICAS &&
#endif
        me <= bidders && length < PLACES && (length == 0 || log[length - 1].epoch < EPOCHS) ->
        bidders = (me == bidders -> bidders + 1 : bidders);
#ifdef LEASE_ALONE
        lease = me;
#endif
        for (i : 0 .. PLACES - 1) {
            if
            :: i < length ->
#ifndef SESSIONS_NOT_REPLICATED
                know(log[i].what);
#endif
                epoch = log[i].epoch
            :: else
            fi
        }
        i = 0;
        applied = length;
        epoch++;
        what = EPOCH;
        printf("replica %d | bids: it has read up to %d\n", me, applied)
    };

append:                                  /* the same entry, until the outcome is known */
    do
    ::  atomic {                         /* the attempt arrives, and so does its outcome */
        arrive(applied, what, me, epoch);
        if
        :: accepted ->
            printf("replica %d | appends %e at %d: accepted\n", me, what, applied + 1);
            accepted = false;
            apply();
            goto current
#ifndef NO_COMPARISON
        :: !accepted && same(applied, what, me, epoch) ->
            printf("replica %d | repeats %e: refused, and its bytes are there\n", me, what);
            apply();
            goto current
#else
        :: !accepted && what != EPOCH ->
            printf("replica %d | repeats %e: refused, so it tries another place\n", me, what);
            applied = length
#endif
        :: else ->
            printf("replica %d | appends %e at %d: refused, it stops\n", me, what, applied + 1);
            crash();
            goto standby
        fi
       }
#ifndef CERTAIN
    ::  d_step {                         /* it arrives, and the outcome is lost */
        length == applied ->
        printf("replica %d | appends %e at %d: accepted, and not told\n", me, what, length + 1);
        arrive(applied, what, me, epoch);
        accepted = false
       }
    ::  atomic {
        length == applied && nfull(late) ->
        printf("replica %d | appends %e at %d: on its way\n", me, what, length + 1);
        late ! what, me, epoch
       }
#endif
#ifdef ANSWER_BEFORE_APPEND
    ::  d_step { is_command(what) && !answered[what] -> acknowledge(what) }
#endif
    ::  atomic { printf("replica %d | crashes\n", me); crash(); goto standby }
    od;

current:                                 /* it believes to be the active replica */
    do
    ::  begin(A1, !knows(A1))            /* a request whose number is the next */
    ::  answer(A1)
#ifdef QUESTION
    ::  begin(BARRIER, asked && !replied)
#ifdef NO_BARRIER
    ::  d_step { asked && !replied -> reply() }
#else
    ::  d_step { due[me] && !replied -> reply() }
#endif
#else
#ifdef SESSIONS_NOT_REPLICATED
    ::  begin(A2, answered[A1] && !knows(A2))
#else
    ::  begin(A2, answered[A1] && knows(A1) && !knows(A2))
#endif
    ::  answer(A2)
    ::  begin(B1, !knows(B1))
    ::  answer(B1)
#endif
    ::  atomic { printf("replica %d | crashes\n", me); crash(); goto standby }
    od
}

init { atomic { run replica(0); run replica(1); run replica(2) } }
