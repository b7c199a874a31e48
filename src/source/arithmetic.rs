//! Whole numbers are added, subtracted and multiplied with a check: a result beyond the type fails the read, where
//! DataFusion's own operators would wrap it round in silence. (Decimals and times are checked there already; `sum` over
//! whole numbers is not ours.)

use std::sync::Arc;

use datafusion::arrow::compute::kernels::numeric::{add, mul, sub};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::{DFSchema, Result};
use datafusion::execution::FunctionRegistry;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion::logical_expr::type_coercion::binary::BinaryTypeCoercer;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ExprSchemable, Operator, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
    Signature, Volatility,
};
use datafusion::physical_expr_common::datum::apply;
use datafusion::prelude::SessionContext;
use datafusion::sql::sqlparser::ast::BinaryOperator;

/// Makes the queries of a session check their arithmetic.
pub(super) fn check(context: &mut SessionContext) -> Result<()> {
    context.register_expr_planner(Arc::new(Planner))
}

#[derive(Debug)]
struct Planner;

impl ExprPlanner for Planner {
    fn plan_binary_op(
        &self,
        expression: RawBinaryExpr,
        schema: &DFSchema,
    ) -> Result<PlannerResult<RawBinaryExpr>> {
        let operator = match expression.op {
            BinaryOperator::Plus => Operator::Plus,
            BinaryOperator::Minus => Operator::Minus,
            BinaryOperator::Multiply => Operator::Multiply,
            _ => return Ok(PlannerResult::Original(expression)),
        };
        let is_whole =
            |operand: &Expr| operand.get_type(schema).is_ok_and(|data_type| data_type.is_integer());
        if !is_whole(&expression.left) || !is_whole(&expression.right) {
            return Ok(PlannerResult::Original(expression));
        }
        let signature = Signature::user_defined(Volatility::Immutable);
        let function = ScalarUDF::from(Checked { operator, signature });
        let operands = vec![expression.left, expression.right];
        let function = ScalarFunction::new_udf(Arc::new(function), operands);
        Ok(PlannerResult::Planned(Expr::ScalarFunction(function)))
    }
}

/// One operator, as a function of two whole numbers.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Checked {
    operator: Operator,
    signature: Signature,
}

impl ScalarUDFImpl for Checked {
    fn name(&self) -> &str {
        match self.operator {
            Operator::Plus => "checked_add",
            Operator::Minus => "checked_subtract",
            _ => "checked_multiply",
        }
    }

    /// A column without an alias is named as the operator would have named it.
    fn schema_name(&self, operands: &[Expr]) -> Result<String> {
        let name = |operand: &Expr| operand.schema_name().to_string();
        let names = operands.iter().map(name).collect::<Vec<_>>();
        Ok(names.join(&format!(" {} ", self.operator)))
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, operands: &[DataType]) -> Result<DataType> {
        BinaryTypeCoercer::new(&operands[0], &self.operator, &operands[1]).get_result_type()
    }

    fn coerce_types(&self, operands: &[DataType]) -> Result<Vec<DataType>> {
        let coercer = BinaryTypeCoercer::new(&operands[0], &self.operator, &operands[1]);
        let (left, right) = coercer.get_input_types()?;
        Ok(vec![left, right])
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let operands = &arguments.args;
        match self.operator {
            Operator::Plus => apply(&operands[0], &operands[1], add),
            Operator::Minus => apply(&operands[0], &operands[1], sub),
            _ => apply(&operands[0], &operands[1], mul),
        }
    }
}
