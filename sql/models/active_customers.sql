SELECT customer_id, name, email, company, country, plan, mrr, signed_up
FROM customers
WHERE is_active
