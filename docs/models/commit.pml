/* The commit: log, sync, apply, answer; and a crash at any point, and recovery, again and again.

   What it abstracts (v2_event_driven_engine/engine/)
     event_engine.py     _run                                     engine: the loop, its answers
     sequencer.py        process, _append, idle, close            engine: one turn of the loop
     wal_event_store.py  append                                   engine: a write, and sync
                         start, _rewrite_last_segment             engine: starting
     log/recovery.py     recover, follow, _divergence             engine: starting; follow
                         take_snapshot                            snapshots
   The engine may be killed between any two steps, and in the middle of a write: what it has written
   stays in the memory of the system. A power cut takes that memory: a batch that was not synced is
   then on the disk, torn, or gone. A sync may fail; then the engine stops, and the batch stays in
   memory, will never reach the disk, and a second sync would say nothing about it.
   Snapshots are taken at any moment by a process of its own, from what a read of the log shows.

   The state is a number that depends on every command applied and on their order; the outcome of a
   command is the state after it. A batch has one or two commands or none, and records the outcomes
   of those before it. Commands are named by the order in which the engine takes them. A client does
   not repeat a command (rulebook: it would be another one).

   Bounds: 5 commands, 6 batches, torn ones not counted; any number of crashes.

   Left out: segments, their marks and headers; damage of what was synced; several answers under
   way (handover.pml).

   Claims
     1. After any recovery every answered command is in the state, once, with the outcome that its
        client was told.
     2. No command is twice in the log.
     3. The recovered state is what the whole log says, also where it began with a snapshot.
     4. The log is never refused: no batch after a hole, no snapshot beyond its end, no recorded
        outcome that is missing or differs.

   Planted mistakes: ANSWER_BEFORE_SYNC, MEMORY_TRUSTED, OUTCOMES_FORGOTTEN, SNAPSHOT_AHEAD. */

#define COMMANDS 5
#define BATCHES  6

mtype = { ON_DISK, IN_MEMORY, NEVER_SYNCED, TORN, GONE }

/* Two commands, or 0; how many outcomes it records, and the last of them; where it is. */
typedef Batch { byte first, second, outcomes; int outcome; mtype is }
Batch log[BATCHES];
byte length;                             /* batches, torn ones too */

/* After so many batches and commands, with so many outcomes not recorded yet. */
typedef Market { byte batches, sequence, unrecorded; int hash }
Market snapshot;                          /* the newest; at first, that of nothing */

int told[COMMANDS + 1];                  /* the outcome that a command was answered with, or 0 */
byte taken;                              /* commands that the engine has taken from its queue */

#define whole(i)      (log[i].is == ON_DISK || log[i].is == IN_MEMORY || log[i].is == NEVER_SYNCED)
#define after(h, c)   ((h) * 6 + (c))
#define count(i)      ((log[i].first > 0) + (log[i].second > 0))

/* Bring `state` on to the end of the log, or to `until`. */
inline follow(state, until) {
    do
    :: state.batches < length && whole(state.batches) && state.sequence < until ->
        i = state.batches;
        assert(log[i].outcomes == state.unrecorded);                                 /* claim 4 */
        assert(log[i].outcomes == 0 || log[i].outcome == state.hash);                /* claim 4 */
        state.unrecorded = count(i);
        state.sequence = state.sequence + count(i);
        state.hash = (log[i].first -> after(state.hash, log[i].first) : state.hash);
        state.hash = (log[i].second -> after(state.hash, log[i].second) : state.hash);
        state.batches++
    :: else -> break
    od;
    i = 0
}

inline copy(from, to) {
    to.batches = from.batches;
    to.sequence = from.sequence;
    to.unrecorded = from.unrecorded;
    to.hash = from.hash
}

inline clear(state) {
    state.batches = 0; state.sequence = 0; state.unrecorded = 0; state.hash = 0
}

#define FOREVER 255

inline again(c) {                        /* a command of the log, for the claims */
    if
    :: c ->
        assert(!(seen & (1 << c)));                                                  /* claim 2 */
        seen = seen | (1 << c);
        whole_log = after(whole_log, c);
        assert(!told[c] || told[c] == whole_log)                                     /* claim 1 */
    :: else
    fi
}

inline check() {
    for (i : 0 .. BATCHES - 1) {
        if
        :: i < live.batches ->
            assert(whole(i));                                                        /* claim 4 */
            again(log[i].first);
            again(log[i].second)
        :: else -> assert(i >= length || !whole(i))                                  /* claim 4 */
        fi
    }
    for (i : 1 .. COMMANDS) {
        assert(!told[i] || (seen & (1 << i)))                                        /* claim 1 */
    }
    assert(live.hash == whole_log);                                                  /* claim 3 */
    whole_log = 0; seen = 0; i = 0
}

inline cut_power() {                     /* what was not synced is then there, torn, or gone */
    for (i : 0 .. BATCHES - 1) {
        if
        :: log[i].is == IN_MEMORY -> log[i].is = ON_DISK
        :: log[i].is == IN_MEMORY -> log[i].is = TORN
        :: log[i].is == IN_MEMORY || log[i].is == NEVER_SYNCED -> log[i].is = GONE
        :: else
        fi
    }
    i = 0
}

#define or_killed :: goto starting

inline sync() {
    if
    ::  d_step {
        log[length - 1].is = ON_DISK;
        printf("engine | syncs\n")
       }
    ::  d_step {
        log[length - 1].is = NEVER_SYNCED;
        printf("engine | its sync fails, so it stops\n")
       };
       goto starting
    or_killed
    fi
}

proctype engine() {
    Market live;
    byte first, second, i;
    bool closing;
    int before, whole_log;               /* the second only for the claims */
    byte seen;

starting:                                /* a power cut is a kill, and then this */
    do
    ::  atomic {
        printf("disk | the power is cut\n");
        first = 0; second = 0; before = 0; closing = false; clear(live);
        cut_power()
       }
    ::  atomic {
        first = 0; second = 0; before = 0; closing = false;
        copy(snapshot, live);
        assert(live.batches <= length);                                              /* claim 4 */
        follow(live, FOREVER);
        check();
#ifdef OUTCOMES_FORGOTTEN
        live.unrecorded = 0;
#endif
        printf("engine | starts: it reads %d batches, %d commands\n", live.batches, live.sequence);
        break
       }
    od;
    if
    ::  d_step {                         /* writes again what it has read, and syncs that */
        for (i : 0 .. BATCHES - 1) {
            if
            :: i >= live.batches && i < length ->
                log[i].first = 0; log[i].second = 0; log[i].outcomes = 0; log[i].outcome = 0;
                log[i].is = 0
#ifdef MEMORY_TRUSTED
            :: i < live.batches && log[i].is == NEVER_SYNCED
#endif
            :: i < live.batches -> log[i].is = ON_DISK
            :: else
            fi
        }
        i = 0;
        length = live.batches
       }
    or_killed
    fi;

    do
    ::  if
        :: d_step { taken + 1 <= COMMANDS -> taken++; first = taken }
        :: d_step { taken + 2 <= COMMANDS -> taken = taken + 2; first = taken - 1; second = taken }
        :: live.unrecorded > 0           /* nothing comes: the outcomes alone */
        :: closing = true                /* they, and the mark that closes the log */
        or_killed
        fi;
        if
        :: length == BATCHES -> break    /* the bound of the model */
        :: else
        fi;
        if
        ::  d_step {
            log[length].first = first;
            log[length].second = second;
            log[length].outcomes = live.unrecorded;
            log[length].outcome = (live.unrecorded -> live.hash : 0);
            log[length].is = IN_MEMORY;
            length++;
            printf("engine | writes batch %d: commands %d, %d\n", length, first, second)
           }
        ::  d_step {
            log[length].is = TORN;
            length++;
            printf("engine | is killed while it writes\n")
           };
           goto starting
        or_killed
        fi;
#ifndef ANSWER_BEFORE_SYNC
        sync();
#endif
        d_step { before = live.hash; follow(live, FOREVER) };
        if
        :: closing -> goto starting
        :: else
        fi;
        do
        ::  d_step { first -> told[first] = after(before, first);
            printf("engine | answers %d\n", first); first = 0 }
        ::  d_step { !first && second -> told[second] = live.hash;
            printf("engine | answers %d\n", second); second = 0 }
        ::  !first && !second -> before = 0; break
        or_killed
        od;
#ifdef ANSWER_BEFORE_SYNC
        sync()
#endif
    od
}

proctype snapshots() {                   /* of what the log itself says is on the disk */
    byte i, until;
end:
    do
    ::  d_step {
        length > snapshot.batches && whole(0) && whole(length - 1) ->
        i = 0;
        until = 0;
        do
        :: i < length && whole(i) -> until = until + count(i); i++
        :: else -> break
        od;
#ifndef SNAPSHOT_AHEAD
        until = until - count(i - 1);    /* a batch says what was there before it */
#endif
        follow(snapshot, until);
        until = 0;
        printf("snapshots | takes one at %d commands\n", snapshot.sequence)
       }
    od
}

init { atomic { run engine(); run snapshots() } }
