(* What a bytecode program can hold on to: exceptions, the heap through collections and compactions, hash tables, weak pointers,
   64-bit integers, closures, strings, channels, and a stack until it overflows. `prog.byte MIB ROUNDS` keeps a heap of MIB
   megabytes alive. Everything ends in one checksum and a file. *)

let sum = ref 0L
let note what n =
  sum := Int64.logxor (Int64.mul !sum 0x100000001b3L) n;
  Printf.printf "%-12s %Ld\n%!" what n

exception Found of int * string

type tree = Leaf | Node of tree * int * tree

let rec insert x = function
  | Leaf -> Node (Leaf, x, Leaf)
  | Node (l, y, r) as t ->
    if x < y then Node (insert x l, y, r) else if x > y then Node (l, y, insert x r) else t

let rec weigh = function Leaf -> 0L | Node (l, x, r) -> Int64.add (weigh l) (Int64.add (Int64.of_int x) (weigh r))

let random = ref 42
let next () =
  random := (!random * 25173 + 13849) land 0xffff;
  !random

let exceptions rounds =
  let table = Hashtbl.create 16 in
  let caught = ref 0 in
  for i = 1 to rounds * 1000 do
    try
      try
        Hashtbl.replace table (i mod 97) (string_of_int i);
        if i mod 3 = 0 then raise (Found (i, Hashtbl.find table (i mod 97)));
        if i mod 7 = 0 then ignore (Hashtbl.find table 1000)
      with Not_found -> incr caught
    with Found (n, s) -> caught := !caught + n - int_of_string s + 1
  done;
  Int64.of_int !caught

let weak () =
  let pointers = Weak.create 1000 in
  let kept = List.init 500 (fun i -> let s = Bytes.make 8 'x' in Weak.set pointers (2 * i) (Some s); s) in
  for i = 0 to 499 do Weak.set pointers (2 * i + 1) (Some (Bytes.make 8 'y')) done;
  Gc.compact ();
  let alive = ref 0 in
  for i = 0 to 999 do if Weak.check pointers i then incr alive done;
  Int64.of_int (!alive + List.length kept)

let closures rounds =
  let compose f g x = f (g x) in
  let rec build n = if n = 0 then fun x -> x else compose (build (n - 1)) (fun x -> x + n) in
  let f = build 200 in
  let total = ref 0 in
  for i = 1 to rounds * 20 do total := !total + f i done;
  Int64.of_int !total

let strings rounds =
  let b = Buffer.create 64 in
  for i = 1 to rounds * 200 do
    Buffer.add_string b (Printf.sprintf "%d:%x;" i (i * i));
    if i mod 500 = 0 then begin
      let d = Digest.to_hex (Digest.string (Buffer.contents b)) in
      Buffer.clear b;
      Buffer.add_string b d
    end
  done;
  Int64.of_string ("0x" ^ String.sub (Digest.to_hex (Digest.string (Buffer.contents b))) 0 15)

let floats rounds =
  let x = ref 0.5 in
  for _ = 1 to rounds * 1000 do x := 3.9 *. !x *. (1. -. !x) done;
  Int64.bits_of_float !x

let rec depth n = if n = 0 then 0 else 1 + depth (n - 1)
let rec forever n = 1 + forever (n + 1)

let () =
  let mib = int_of_string Sys.argv.(1) and rounds = int_of_string Sys.argv.(2) in
  let out = open_out "/work/out.txt" in
  (* A megabyte is 2^18 words of 4 bytes here. *)
  let heap = Array.init (mib * 4) (fun i -> Array.make 65535 i) in
  let tree = ref Leaf in
  for round = 1 to 10 do
    for _ = 1 to rounds * 50 do tree := insert (next ()) !tree done;
    note "exceptions" (exceptions rounds);
    note "closures" (closures rounds);
    note "strings" (strings rounds);
    note "floats" (floats rounds);
    note "depth" (Int64.of_int (depth (20000 * round)));
    Array.iteri (fun i a -> a.(round) <- i * round) heap;
    if round mod 3 = 0 then note "weak" (weak ());
    Printf.fprintf out "round %d: %Ld\n%!" round !sum
  done;
  note "tree" (weigh !tree);
  note "heap" (Array.fold_left (fun s a -> Int64.add s (Int64.of_int (Array.fold_left (+) 0 a))) 0L heap);
  note "overflow" (try Int64.of_int (forever 0) with Stack_overflow -> -1L);
  let stat = Gc.quick_stat () in
  note "collected" (if stat.Gc.major_collections > 0 && stat.Gc.compactions >= 3 then 1L else 0L);
  close_out out;
  Printf.printf "%Lx\n" !sum
