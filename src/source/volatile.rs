//! What in a model can give another answer for the same rows, so that they are sent though nothing changed.

use std::collections::BTreeSet;

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{Distinct, Expr, LogicalPlan, Volatility};

/// Functions whose answer is another one for rows in another order.
const BY_ORDER: [&str; 10] = [
    "any_value",
    "array_agg",
    "first_value",
    "lag",
    "last_value",
    "lead",
    "nth_value",
    "ntile",
    "row_number",
    "string_agg",
];

/// What to say of what the model uses and can give another answer for the same rows.
pub fn told(model: &str, used: &str) -> String {
    told_of(&format!("model `{model}`"), used)
}

/// As [`told`], of a model or of a table's own query.
pub(super) fn told_of(of: &str, used: &str) -> String {
    format!(
        "{of} uses `{used}`, which can give another answer at each run, so that rows are sent, and in a mirror deleted \
         and added again, though nothing changed"
    )
}

/// Everything of that kind in the plan, subqueries included, in words: functions that are not pure, and what depends on
/// an order of rows that nobody gave. Sums of floats, whose last digits depend on it too, are not named.
pub(super) fn volatile(plan: &LogicalPlan) -> Result<Vec<String>, DataFusionError> {
    let mut found = BTreeSet::new();
    plan.apply_with_subqueries(|node| {
        found.extend(unordered(node).map(str::to_owned));
        node.apply_expressions(|expression| {
            expression.apply(|part| {
                found.extend(impure(part));
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    Ok(found.into_iter().collect())
}

/// A choice among rows in whatever order they come.
fn unordered(node: &LogicalPlan) -> Option<&'static str> {
    match node {
        LogicalPlan::Limit(limit) if !is_sorted(&limit.input) => Some("LIMIT without ORDER BY"),
        LogicalPlan::Distinct(Distinct::On(on)) if on.sort_expr.is_none() => {
            Some("DISTINCT ON without ORDER BY")
        }
        _ => None,
    }
}

/// A column that is only sorted by is left out behind the sort.
fn is_sorted(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Sort(_) => true,
        LogicalPlan::Projection(projection) => is_sorted(&projection.input),
        _ => false,
    }
}

fn impure(expression: &Expr) -> Option<String> {
    let (name, volatility, is_ordered) = match expression {
        Expr::ScalarFunction(function) => {
            (function.func.name(), function.func.signature().volatility, true)
        }
        Expr::AggregateFunction(function) => {
            let is_ordered = !function.params.order_by.is_empty();
            (function.func.name(), function.func.signature().volatility, is_ordered)
        }
        Expr::WindowFunction(function) => {
            let is_ordered = !function.params.order_by.is_empty();
            (function.fun.name(), function.fun.signature().volatility, is_ordered)
        }
        _ => return None,
    };
    if volatility != Volatility::Immutable {
        return Some(name.to_owned());
    }
    (!is_ordered && BY_ORDER.contains(&name)).then(|| format!("{name} without ORDER BY"))
}
