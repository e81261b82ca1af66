agenthub 14463531
tokio-rt-worker 684356
tokio-rt-worker 7329636
agenthub-writer 136552
agenthub-keeper 8820866
notify-rs inoti 350686
agenthub-looker 17386161
