# Makes records, then groups, sorts, folds, matches on paths, and prints: jq's virtual machine with its backtracking.
def primes($n): reduce range(2; $n) as $i ([range($n)] | .[0] = null | .[1] = null;
  if .[$i] and $i * $i < $n then reduce range($i * $i; $n; $i) as $j (.; .[$j] = null) else . end) | map(select(.));
def fib: if . < 2 then . else (. - 1 | fib) + (. - 2 | fib) end;
[range(12000) | { id: ., host: "h\(. * 7919 % 13)", ms: (. * 104729 % 997), tags: [range(. % 4) | tostring] }]
| (group_by(.host) | map({ host: .[0].host, n: length, mean: (map(.ms) | add / length | . * 100 | floor / 100), worst: max_by(.ms).id })),
  (map(.tags[]) | unique | join(",")),
  ([paths(type == "number")] | length),
  (primes(4000) | length, last),
  (21 | fib),
  ([limit(5; repeat("x"))] | add),
  (try error({ a: 1 }) catch .a),
  (map(select(.id % 1500 == 1499)) | sort_by(-.ms) | .[] | @csv "\([.id, .host, .ms])"),
  ({ a: [1, 2, { b: null }] } | tojson | fromjson | [leaf_paths] | tostring | ascii_upcase | @base64)
