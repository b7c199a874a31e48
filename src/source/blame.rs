//! A mapped expression that fails while rows are read says which field it is of.
//!
//! DataFusion moves expressions to wherever they are cheapest, down into the scan of a file, and what fails there tells nothing
//! of where it stood in the config. So each takes its name with it, from the first plan on. What the optimizer has two fields
//! share is named by the first of them. Not responsible for the words of a failure (`error`).

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::{FieldRef, Schema};
use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::execution::{SessionState, SessionStateBuilder};
use datafusion::logical_expr::{ColumnarValue, Expr, LogicalPlan};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::projection::ProjectionExpr;
use datafusion::physical_expr::utils::collect_columns;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::projection::ProjectionExec;

use super::error::Error;
use super::mapping::Selection;

/// How the optimizer names what several expressions share.
const SHARED: &str = "__common_expr_";

/// The fields of a mapping that are more than a column.
#[derive(Debug, Clone)]
pub(super) struct Blamed {
    model: Arc<str>,
    fields: Vec<Field>,
}

/// A field and its SQL.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Field {
    name: Arc<str>,
    sql: Arc<str>,
}

impl Blamed {
    /// `plan` ends with the mapping of the selection.
    pub fn of(model: &str, selection: &Selection, plan: &LogicalPlan) -> Blamed {
        let expressions = match plan {
            LogicalPlan::Projection(projection) => &projection.expr[..],
            _ => &[],
        };
        let is_column = |field: &str| {
            let said = expressions.iter().find_map(|expression| match expression {
                Expr::Alias(alias) if alias.name == field => Some(&*alias.expr),
                _ => None,
            });
            said.is_none_or(|expression| matches!(expression, Expr::Column(_)))
        };
        let computed = selection.fields.iter().filter(|mapped| !is_column(&mapped.field));
        let field = computed.map(|mapped| Field {
            name: mapped.field.as_str().into(),
            sql: mapped.expression.as_str().into(),
        });
        Blamed { model: model.into(), fields: field.collect() }
    }

    /// The state with which a plan is made whose failures name their fields.
    pub fn planner(&self, state: &SessionState) -> SessionState {
        let mut rules: Vec<Arc<dyn PhysicalOptimizerRule + Send + Sync>> =
            vec![Arc::new(self.clone())];
        rules.extend(state.physical_optimizers().iter().map(Arc::clone));
        SessionStateBuilder::new_from_existing(state.clone())
            .with_physical_optimizer_rules(rules)
            .build()
    }

    fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| *field.name == *name)
    }

    /// The projection again, its expressions with the names of the fields that they are `of`.
    fn named<'f>(
        &self,
        projection: &ProjectionExec,
        input: Arc<dyn ExecutionPlan>,
        of: impl Fn(&str) -> Option<&'f Field>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let expression = |said: &ProjectionExpr| {
            let ProjectionExpr { expr, alias } = said.clone();
            let expr = match of(&alias) {
                Some(field) => {
                    let (model, field) = (Arc::clone(&self.model), field.clone());
                    Arc::new(Named { computed: expr, model, field })
                }
                None => expr,
            };
            ProjectionExpr { expr, alias }
        };
        let expressions = projection.expr().iter().map(expression);
        let schema = projection.schema();
        let named =
            ProjectionExec::try_new_with_schema_metadata(expressions, input, schema.as_ref())?;
        Ok(Arc::new(named))
    }
}

impl PhysicalOptimizerRule for Blamed {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let Some(mapping) = plan.downcast_ref::<ProjectionExec>() else { return Ok(plan) };
        let mut input = Arc::clone(mapping.input());
        if let Some(shared) = input.downcast_ref::<ProjectionExec>() {
            let user = |name: &str| {
                let uses = |said: &&ProjectionExpr| {
                    collect_columns(&said.expr).iter().any(|column| column.name() == name)
                };
                let mut users = mapping.expr().iter().filter(uses);
                let is_shared = name.starts_with(SHARED);
                is_shared.then(|| users.find_map(|said| self.field(&said.alias)))?
            };
            input = self.named(shared, Arc::clone(shared.input()), user)?;
        }
        self.named(mapping, input, |name| self.field(name))
    }

    fn name(&self) -> &'static str {
        "blame"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// What a field is computed from, with its name.
#[derive(Debug)]
struct Named {
    computed: Arc<dyn PhysicalExpr>,
    model: Arc<str>,
    field: Field,
}

impl PhysicalExpr for Named {
    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        let Field { name, sql } = &self.field;
        let named = |error| Error::of_field(&error, &self.model, name, sql).into();
        self.computed.evaluate(batch).map_err(named)
    }

    fn return_field(&self, schema: &Schema) -> Result<FieldRef> {
        self.computed.return_field(schema)
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.computed]
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn PhysicalExpr>>,
    ) -> Result<Arc<dyn PhysicalExpr>> {
        let [computed] = <[_; 1]>::try_from(children).expect("it has one child");
        let (model, field) = (Arc::clone(&self.model), self.field.clone());
        Ok(Arc::new(Named { computed, model, field }))
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.computed.fmt_sql(f)
    }
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.computed.fmt(f)
    }
}

impl PartialEq for Named {
    fn eq(&self, other: &Self) -> bool {
        self.field == other.field && self.computed.eq(&other.computed)
    }
}

impl Eq for Named {}

impl Hash for Named {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.field.hash(state);
        self.computed.hash(state);
    }
}
