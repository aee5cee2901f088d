# Makes a table of what `go test -bench` says of the budgets: what, how much, the budget, and whether it
# is kept; then how the cost of each worker grows from the fewest to the most.
function value(unit,   i) {
  for (i = 3; i < NF; i += 2) if ($(i + 1) == unit) return $i
  return ""
}
function words(name) {
  sub(/^BenchmarkBudget/, "", name); sub(/-[0-9]+$/, "", name)
  gsub(/_/, " ", name); gsub(/\//, ", ", name)
  return name
}
/^(FAIL|---|panic)/ || /_test.go:/ { print; failed = 1 }
/^BenchmarkBudget/ && value("ratio") != "" {
  name = words($1); ratio = value("ratio")
  least = value("budget-least"); most = value("budget-most")
  free = least == "" && most == "" # a figure without a budget
  kept = free || (least != "" ? ratio >= least + 0 : ratio <= most + 0)
  if (!kept) missed++
  if (!head++) printf "%-42s %9s %9s  %-7s%s\n", "budget", "ratio", "allowed", "", "each"
  cost = value("ns-each"); unit = "ns"
  if (cost == "") { cost = value("B-each"); unit = "B" }
  printf "%-42s %9.3f %9s  %-7s%s\n", name, ratio, free ? "" : (least != "" ? ">= " least : "<= " most), free ? "" : kept ? "ok" : "MISSED", cost == "" ? "" : cost " " unit
  what = name; sub(/, [0-9]+ workers$/, "", what)
  if (what != name && cost != "") {
    if (!(what in first)) { order[++n] = what; first[what] = cost; from[what] = name }
    last[what] = cost; to[what] = name
  }
}
END {
  if (n) printf "\n%-42s %9s\n", "growth of the cost of each worker", "times"
  for (i = 1; i <= n; i++) {
    what = order[i]; a = from[what]; z = to[what]
    sub(/^.*, /, "", a); sub(/^.*, /, "", z); sub(/ workers/, "", a)
    printf "%-42s %9.3f  from %s to %s\n", what, last[what] / first[what], a, z
  }
  printf "\n%d of the budgets are missed\n", missed + 0
  exit failed || !head
}
