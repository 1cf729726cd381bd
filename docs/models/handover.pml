/* The hand-over in one process: producers, a bounded queue, a writer that sleeps, and the end.

   What it abstracts (v2_event_driven_engine/engine/)
     event_engine.py  _enqueue, _enqueue_many                 producer
                      _wake_writer, _wake                     producer; wake_up
                      _next_batch, _run                       writer
                      close, _refuse_leftovers                closer; refuse_leftovers
     receipt.py       Receipt, wait, fail, wake               producer: its end; fail, wake
   One statement here is one step there that no other thread can divide: a `deque.append`, a `pop`,
   an attribute that is read or set, a lock that is taken or given back. Any thread may run between
   two of them. A signal handler that submits is one producer more.

   Bounds: 2 producers, each submits twice, and waits in between; one of these requests is a pair,
   which takes two places; a queue of two places; batches of two places. The engine may be closed at
   any moment or never, and may fail at any batch.

   Left out: what a command does, and the log (commit.pml); a producer that waits with a time limit,
   or for the receipt of another; an exception that a signal raises inside `_enqueue`; fork.

   Claims
     1. No wake-up is lost: when nothing can move any more, every producer has its answers.
     2. Every receipt is resolved, once: answered, failed or refused.
     3. The queue never holds more than its capacity.
     4. A command is taken once.
     5. No permit is lost: an engine that waits for work has all its places free.
     6. Every run ends: there is no cycle, so no thread spins for ever.

   Planted mistakes: NO_SECOND_LOOK, BOUND_BY_LENGTH, LEFTOVERS_FORGOTTEN, NO_LOOK_AFTER_ADDING. */

#define PRODUCERS 2
#define CAPACITY  2
#define MAX_BATCH 2
#define REQUESTS  4                      /* producer 0 submits 0, then 1; producer 1 submits 2, */
#define MANY      3                      /* then 3, which is a pair */

#define places(r) (1 + (r == MANY))
#define from(r)   (r >= 2)               /* its producer */

/* What the threads share. */
chan queue = [REQUESTS] of { byte };    /* requests */
byte permits = CAPACITY;
bool asleep, finished, closing;
bool work;                               /* the bare lock: whether it is free to be taken */
bool done[REQUESTS];                     /* a receipt: whether it has an answer or a failure, */
bool waiting[REQUESTS];                  /* whether its producer has added a lock of its own, */
bool released[REQUESTS];                 /* and whether that lock was released */

/* For the claims only. */
byte queued;                             /* places in use in the queue */
bool taken[REQUESTS];                    /* whether somebody has this request in hand */
byte ended;                              /* producers that have come to their end */

inline popleft(r) {                      /* executable only if there is one */
    queue ? r;
    queued = queued - places(r);
    assert(!taken[r] && !done[r]);                                      /* claim 4 */
    taken[r] = true
}

inline wake(r) {
    atomic {
        if
        :: waiting[r] -> released[r] = true
        :: else
        fi
    }
}

inline resolve(r) {
    d_step {
        assert(!done[r]);                                                            /* claim 2 */
        taken[r] = false;
        done[r] = true
    }
}

inline fail(r) {
    if
    :: atomic { !done[r] -> resolve(r) }; wake(r)
    :: else
    fi
}

inline refuse_leftovers(r) {
    do
    :: atomic { popleft(r); resolve(r) }; wake(r); r = 0
    :: empty(queue) -> break
    od
}

inline wake_up() {                       /* `_wake`: looks first, then releases */
    if
    :: !work -> work = true
    :: else
    fi
}

proctype producer(byte me, last) {       /* submits the requests from `me` to `last` */
    byte other, got;
    do
    ::  if
        :: closing -> break                                             /* EngineClosed */
        :: else
        fi;
#ifdef BOUND_BY_LENGTH
        if
        :: queued + places(me) <= CAPACITY
        :: else -> goto busy
        fi;
#else
        d_step {                         /* all in one call, or as many as there were */
            got = (permits < places(me) -> permits : places(me));
            permits = permits - got
        }
        if
        :: got < places(me) -> permits = permits + got; goto busy       /* EngineBusy */
        :: else
        fi;
#endif
        d_step {
            queue ! me;
            queued = queued + places(me);
            printf("producer %d | appends request %d; places taken: %d\n", from(me), me, queued);
            assert(queued <= CAPACITY)                                               /* claim 3 */
        }
        if
        :: asleep ->
            printf("producer %d | sees that the writer sleeps\n", from(me));
            if
#ifndef LEFTOVERS_FORGOTTEN
            :: finished -> refuse_leftovers(other)
#endif
            :: else -> wake_up()
            fi
        :: else -> printf("producer %d | sees the writer awake\n", from(me))
        fi;
        /* Receipt.wait */
        if
        :: done[me]
        :: else ->
            printf("producer %d | has no answer yet\n", from(me));
            d_step {
                waiting[me] = true;
                printf("producer %d | adds itself to those who wait\n", from(me))
            };
#ifdef NO_LOOK_AFTER_ADDING
            released[me]
#else
            if
            :: done[me]                  /* a second look */
            :: else -> released[me]
            fi
#endif
        fi;
        d_step {                         /* the same state for all that is over: fewer states */
            assert(done[me]);                                                        /* claim 2 */
            waiting[me] = false;
            released[me] = false
        }
busy:   if
        :: me == last -> break
        :: else -> me++
        fi
    od;
    ended++
}

proctype writer() {
    byte batch[MAX_BATCH], size, room = MAX_BATCH, next;
    bool unrecorded;
    do
    ::  /* _next_batch */
        do
        :: nempty(queue) -> break
        :: empty(queue) ->
            printf("writer | sees an empty queue\n");
            d_step { asleep = true; printf("writer | says that it sleeps\n") };
            if
#ifdef NO_SECOND_LOOK
            :: true ->
#else
            :: nempty(queue)             /* a second look */
            :: empty(queue) ->
#endif
                if
                :: closing -> goto closed
                :: else
                fi;
end_asleep:     if
                :: atomic { work -> work = false }
                :: unrecorded ->         /* the time is up: sequencer.idle() */
                    if
                    :: unrecorded = false
                    :: goto failure
                    fi
                fi
            fi;
            d_step { asleep = false; printf("writer | is awake\n") }
        od;
        do
        :: atomic {
            nempty(queue) && (size == 0 || (room == 1 && !queue ? [MANY])) ->
            popleft(batch[size]);
            room = room - places(batch[size]);
            printf("writer | takes request %d\n", batch[size]);
            size++
           }
        :: empty(queue) || (size > 0 && (room == 0 || queue ? [MANY])) -> break
        od;
#ifndef BOUND_BY_LENGTH
        permits = permits + MAX_BATCH - room;
#endif
        /* sequencer.process */
        if
        :: unrecorded = true
        :: goto failure
        fi;
        do
        :: next < size ->
            resolve(batch[next]);
            printf("writer | answers request %d\n", batch[next]);
            wake(batch[next]);
            next++
        :: else -> break
        od;
        atomic { size = 0; room = MAX_BATCH; batch[0] = 0; batch[1] = 0; next = 0 }
    od;
failure:
    printf("writer | fails, and fails what it has in hand\n");
    next = 0;
    do
    :: next < size -> fail(batch[next]); next++
    :: else -> break
    od;
closed:
    closing = true;
    d_step { finished = true; printf("writer | ends\n") };
    asleep = true;
    refuse_leftovers(next)
}

proctype closer() {
    if
    :: true                              /* nobody closes it */
    :: d_step { closing = true; printf("closer | closes\n") }; wake_up(); finished      /* join */
    fi
}

init {
    atomic {
        run writer();
        run closer();
        run producer(0, 1);
        run producer(2, 3)
    }
    /* Nothing can move any more. */
    timeout ->
        assert(ended == PRODUCERS);                                                  /* claim 1 */
        assert(empty(queue));                                                        /* claim 2 */
#ifndef BOUND_BY_LENGTH
        assert(finished || permits == CAPACITY)                                      /* claim 5 */
#endif
}
