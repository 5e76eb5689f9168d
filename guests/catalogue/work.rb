# Blocks, fibers, exceptions, big integers, regular expressions, hashes, comparable structs, string formatting.
Job = Struct.new(:due, :name) { include Comparable; def <=>(other) = due <=> other.due }
seed = 42
jobs = Array.new(20000) { |i| seed = (seed * 1103515245 + 12345) % 2**31; Job.new(seed % 1000, "job#{i}") }
puts "jobs #{jobs.min.due} #{jobs.max.due} #{jobs.sort.each_slice(4000).map { |s| s.sum(&:due) }.inspect}"

primes = Fiber.new do
  known = []
  (2..).each { |n| (known << n; Fiber.yield n) if known.take_while { |p| p * p <= n }.none? { |p| n % p == 0 } }
end
puts "primes #{Array.new(900) { primes.resume }.last(3).inspect}"

puts "factorial #{(1..1000).inject(:*).to_s.tap { |s| break [s.size, s[0, 20]] }.inspect}"
text = "in the wood the dormouse sleeps; nobody wakes the dormouse before April. " * 800
count = text.scan(/\w+/).each_with_object(Hash.new(0)) { |w, h| h[w.downcase] += 1 }
puts count.sort_by { |w, n| [-n, w] }.first(5).map { |w, n| format("%-10s%6d", w, n) }
puts "gsub #{text.gsub(/(\w)(\w*)/) { "#{$2}#{$1}ay" }[0, 70]}"

def hanoi(n, a, b, c) = n.zero? ? 0 : hanoi(n - 1, a, c, b) + 1 + hanoi(n - 1, c, b, a)
puts "hanoi #{hanoi(19, :a, :b, :c)}"
caught = 0
20000.times { |i| begin; raise ArgumentError, i.to_s if i.odd?; Integer("x"); rescue ArgumentError => e; caught += e.message.size; ensure; caught += 1; end }
puts "caught #{caught}"
found = catch(:found) { (1..).each { |a| (1..a).each { |b| throw :found, [b, a] if (a * a + b * b) == 845 * 845 } } }
puts "found #{found.inspect}"
case { name: "dormouse", nest: { tree: "hazel", branch: 2 } }
in { nest: { tree: String => tree, branch: } } then puts "nest #{tree} #{branch}"
end
$stdout.flush
