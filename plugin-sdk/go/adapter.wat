;; The system (the first version of WASI) of plugins in Go: it has no memory of its own, and uses only two interfaces of
;; the gateway, random numbers and the log.
;;
;; The clock only counts its calls: Go's collector may read it while the gateway waits for memory (cabi_realloc), when
;; no import may be called. Plugins that need the time use the interface `clock`.
(module
  (import "env" "memory" (memory 0))
  (import "gatewright:plugin/log@0.1.0" "write" (func $log (param i32 i32 i32 i32 i32)))
  (import "gatewright:plugin/random@0.1.0" "number" (func $random (result i64)))
  (global $now (mut i64) (i64.const 1000000000))

  (func (export "clock_time_get") (param i32 i64) (param $out i32) (result i32)
    (global.set $now (i64.add (global.get $now) (i64.const 1000)))
    (i64.store (local.get $out) (global.get $now))
    i32.const 0)

  ;; Eight bytes for each number, then the rest of the last one.
  (func (export "random_get") (param $to i32) (param $length i32) (result i32)
    (local $bits i64)
    (block $done
      (loop $more
        (br_if $done (i32.lt_u (local.get $length) (i32.const 8)))
        (i64.store align=1 (local.get $to) (call $random))
        (local.set $to (i32.add (local.get $to) (i32.const 8)))
        (local.set $length (i32.sub (local.get $length) (i32.const 8)))
        (br $more)))
    (if (local.get $length) (then
      (local.set $bits (call $random))
      (loop $byte
        (i64.store8 (local.get $to) (local.get $bits))
        (local.set $bits (i64.shr_u (local.get $bits) (i64.const 8)))
        (local.set $to (i32.add (local.get $to) (i32.const 1)))
        (local.set $length (i32.sub (local.get $length) (i32.const 1)))
        (br_if $byte (local.get $length)))))
    i32.const 0)

  ;; Printed text, such as a panic of Go's runtime, is logged as lines of the plugin's log, level error.
  (func (export "fd_write") (param $file i32) (param $parts i32) (param $count i32) (param $written i32) (result i32)
    (local $sum i32)
    (loop $more
      (if (local.get $count) (then
        (call $log
          (i32.const 4) (i32.load (local.get $parts)) (i32.load offset=4 (local.get $parts)) (i32.const 0) (i32.const 0))
        (local.set $sum (i32.add (local.get $sum) (i32.load offset=4 (local.get $parts))))
        (local.set $parts (i32.add (local.get $parts) (i32.const 8)))
        (local.set $count (i32.sub (local.get $count) (i32.const 1)))
        (br $more))))
    (i32.store (local.get $written) (local.get $sum))
    i32.const 0)

  (func (export "proc_exit") (param i32) unreachable)
  (func (export "sched_yield") (result i32) i32.const 0)
  ;; Never waits: reports that one event has occurred.
  (func (export "poll_oneoff") (param i32 i32 i32) (param $events i32) (result i32)
    (i32.store (local.get $events) (i32.const 1))
    i32.const 0)

  ;; No arguments and no environment.
  (func (export "args_get") (export "environ_get") (param i32 i32) (result i32) i32.const 0)
  (func (export "args_sizes_get") (export "environ_sizes_get") (param $count i32) (param $size i32) (result i32)
    (i32.store (local.get $count) (i32.const 0))
    (i32.store (local.get $size) (i32.const 0))
    i32.const 0)

  ;; No files: 8 is EBADF.
  (func (export "fd_read") (param i32 i32 i32 i32) (result i32) i32.const 8)
  (func (export "fd_close") (param i32) (result i32) i32.const 8)
  (func (export "fd_fdstat_get") (export "fd_fdstat_set_flags") (export "fd_prestat_get") (param i32 i32) (result i32)
    i32.const 8)
  (func (export "fd_prestat_dir_name") (param i32 i32 i32) (result i32) i32.const 8))
