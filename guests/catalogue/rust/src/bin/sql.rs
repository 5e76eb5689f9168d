//! sqlparser: parses statements of several dialects, deeply nested ones too, and prints them again from the syntax tree.

use sqlparser::dialect::{Dialect, GenericDialect, MySqlDialect, PostgreSqlDialect};
use sqlparser::parser::Parser;

const STATEMENTS: [&str; 6] = [
    "WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t WHERE n < 100) SELECT sum(n) FROM t",
    "SELECT a.*, count(DISTINCT b.id) OVER (PARTITION BY a.x ORDER BY a.y DESC ROWS BETWEEN 2 PRECEDING AND CURRENT ROW) \
     FROM a LEFT JOIN b ON a.id = b.a_id AND b.z IN (SELECT z FROM c WHERE c.k LIKE '%mouse%') \
     WHERE NOT EXISTS (SELECT 1 FROM d) GROUP BY a.x HAVING count(*) > 3 LIMIT 10 OFFSET 5",
    "CREATE TABLE p (id BIGINT NOT NULL PRIMARY KEY, name VARCHAR(40) DEFAULT 'x', w NUMERIC(10, 2) CHECK (w > 0))",
    "INSERT INTO p (id, name) VALUES (1, 'a'), (2, 'b''c') ON CONFLICT (id) DO UPDATE SET name = excluded.name",
    "UPDATE p SET w = CASE WHEN w IS NULL THEN 0 WHEN w BETWEEN 1 AND 2 THEN w * 2 ELSE -w END WHERE id = ANY(ARRAY[1, 2])",
    "MERGE INTO s USING t ON s.id = t.id WHEN MATCHED THEN UPDATE SET v = t.v WHEN NOT MATCHED THEN INSERT (id) VALUES (t.id)",
];

fn main() {
    let rounds: u32 = std::env::args().nth(1).map_or(100, |n| n.parse().expect("a number"));
    let dialects: [(&str, &dyn Dialect); 3] = [
        ("generic", &GenericDialect {}),
        ("postgres", &PostgreSqlDialect {}),
        ("mysql", &MySqlDialect {}),
    ];
    let mut nodes = 0;
    for round in 0..rounds {
        for (name, dialect) in dialects {
            for sql in STATEMENTS {
                let parsed = Parser::parse_sql(dialect, sql);
                if round > 0 {
                    nodes += parsed.map_or(1, |p| format!("{p:?}").matches('{').count());
                    continue;
                }
                match parsed {
                    Ok(p) => println!("{name}: {}", p[0]),
                    Err(e) => println!("{name}: {e}"),
                }
            }
        }
    }
    let deep = format!("SELECT {}1{}", "(".repeat(40), ")".repeat(40));
    println!("{}", Parser::parse_sql(&GenericDialect {}, &deep).expect("parses")[0]);
    let deeper = format!("SELECT {}1{}", "(".repeat(400), ")".repeat(400));
    println!("{}", Parser::parse_sql(&GenericDialect {}, &deeper).expect_err("is too deep"));
    println!("{nodes} nodes");
}
