// C++ with exceptions as try_table and throw_ref: thrown across frames, rethrown, kept in exception_ptr, in destructors, through
// virtual bases; and the standard library: streams, regular expressions, maps, sorting, shared_ptr, variant, coroutines.
#include <algorithm>
#include <coroutine>
#include <deque>
#include <exception>
#include <fstream>
#include <functional>
#include <iomanip>
#include <iostream>
#include <map>
#include <memory>
#include <numeric>
#include <random>
#include <regex>
#include <set>
#include <sstream>
#include <stdexcept>
#include <string>
#include <unordered_map>
#include <variant>
#include <vector>

static int alive = 0, unwound = 0;
struct Guard { // its destructor runs while an exception passes
  int n;
  explicit Guard(int n) : n(n) { alive++; }
  ~Guard() { alive--; if (std::uncaught_exceptions() > 0) unwound += n; }
};

struct Base { virtual ~Base() = default; virtual int value() const = 0; };
struct Left : virtual Base { int value() const override { return 1; } };
struct Right : virtual Base {};
struct Both final : Left, Right { int value() const override { return Left::value() + 41; } };

struct Odd : std::runtime_error { int depth; Odd(int d) : std::runtime_error("odd at " + std::to_string(d)), depth(d) {} };

static int dive(int n, int seed) {
  Guard g(1);
  if (n == 0) {
    if (seed % 3 == 0) throw Odd(seed);
    if (seed % 3 == 1) throw seed;
    return seed;
  }
  try {
    return dive(n - 1, seed) + 1;
  } catch (const Odd &o) {
    if (n % 4 != 0) throw; // rethrown
    std::throw_with_nested(std::logic_error("level " + std::to_string(n)));
  }
}

static std::string tell(const std::exception &e) {
  std::string text = e.what();
  try { std::rethrow_if_nested(e); } catch (const std::exception &inner) { text += " <- " + tell(inner); }
  return text;
}

template <class T> struct Generator {
  struct promise_type {
    T value; std::exception_ptr error;
    Generator get_return_object() { return {std::coroutine_handle<promise_type>::from_promise(*this)}; }
    std::suspend_always initial_suspend() { return {}; }
    std::suspend_always final_suspend() noexcept { return {}; }
    std::suspend_always yield_value(T v) { value = v; return {}; }
    void return_void() {}
    void unhandled_exception() { error = std::current_exception(); }
  };
  std::coroutine_handle<promise_type> handle;
  ~Generator() { handle.destroy(); }
  bool next() {
    handle.resume();
    if (handle.promise().error) std::rethrow_exception(handle.promise().error);
    return !handle.done();
  }
};

static Generator<long> collatz(long n) {
  while (n != 1) { co_yield n; n = n % 2 ? 3 * n + 1 : n / 2; if (n > 10000) throw std::overflow_error(std::to_string(n)); }
}

int main(int argc, char **argv) {
  int rounds = argc > 1 ? std::stoi(argv[1]) : 100;
  std::map<std::string, int> outcomes;
  std::vector<std::exception_ptr> kept;
  for (int i = 0; i < rounds; i++) {
    try {
      outcomes["returned"] += dive(i % 40, i) - i;
    } catch (int n) {
      outcomes["int"] += n;
    } catch (const std::exception &e) {
      outcomes[tell(e).substr(0, 8)]++;
      if (i % 50 == 0) kept.push_back(std::current_exception());
    }
  }
  for (auto &[what, n] : outcomes) std::cout << std::setw(10) << std::left << what << n << '\n';
  for (auto &p : kept) try { std::rethrow_exception(p); } catch (const std::exception &e) { std::cout << tell(e) << "; "; }
  std::cout << "\nalive " << alive << ", unwound " << unwound << '\n';

  std::unique_ptr<Base> both = std::make_unique<Both>();
  std::cout << both->value() << ' ' << (dynamic_cast<Right *>(both.get()) != nullptr) << '\n';
  try { (void)dynamic_cast<Both &>(*std::unique_ptr<Base>(new Left)); } catch (const std::bad_cast &) { std::cout << "bad_cast\n"; }

  std::mt19937_64 random(5);
  std::ofstream("/work/numbers.txt") << [&] {
    std::ostringstream out;
    for (int i = 0; i < rounds * 4; i++) out << "n" << i << "=" << random() % 100000 << (i % 5 ? ' ' : '\n');
    return out.str();
  }();
  std::ifstream in("/work/numbers.txt");
  std::unordered_map<std::string, long> numbers;
  const std::regex pair("(n[0-9]+)=([0-9]+)");
  for (std::string line; std::getline(in, line);)
    for (std::sregex_iterator i(line.begin(), line.end(), pair), end; i != end; ++i) numbers[(*i)[1]] = std::stol((*i)[2]);
  std::vector<std::pair<long, std::string>> sorted;
  for (auto &[name, n] : numbers) sorted.emplace_back(n, name);
  std::sort(sorted.begin(), sorted.end(), std::greater<>());
  std::cout << numbers.size() << ' ' << sorted.front().second << ' ' << sorted.back().first << '\n';

  using Value = std::variant<int, std::string, std::vector<double>>;
  std::deque<Value> values{1, "two", std::vector<double>{3, 4.5}};
  for (auto &v : values)
    std::visit([](auto &x) { if constexpr (std::is_same_v<std::decay_t<decltype(x)>, std::vector<double>>)
      std::cout << std::accumulate(x.begin(), x.end(), 0.0); else std::cout << x; std::cout << ' '; }, v);
  try { std::get<int>(values[1]); } catch (const std::bad_variant_access &e) { std::cout << e.what() << '\n'; }

  long steps = 0; int overflows = 0;
  for (long n = 1; n <= rounds; n++) {
    auto g = collatz(n);
    try { while (g.next()) steps++; } catch (const std::overflow_error &) { overflows++; }
  }
  std::cout << steps << ' ' << overflows << ' ' << std::hex << std::showbase << 48879 << std::dec << ' '
            << std::fixed << std::setprecision(3) << 2.0 / 3 << '\n';
  try { std::vector<int>().at(3); } catch (const std::out_of_range &) { std::cout << "out_of_range\n"; }
  return alive;
}
