SELECT f.time_hour, f.carrier, f.flight, a.name AS airline, f.origin, f.dest, f.dep_time, f.dep_delay, f.air_time
FROM flights f
LEFT JOIN airlines a ON a.carrier = f.carrier
