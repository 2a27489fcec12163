{{/*
One workload. Takes a dict: root, role (subcommand), component (name), kind (StatefulSet|Deployment), replicas,
values (resources, persistence, extraArgs), args (list), store (bool), config (bool).
*/}}
{{- define "pando.workload" -}}
{{- $root := .root -}}
{{- $full := include "pando.fullname" $root -}}
{{- $name := printf "%s-%s" $full .component -}}
{{- $stateful := eq .kind "StatefulSet" -}}
{{- $secret := include "pando.objstoreSecret" $root -}}
apiVersion: apps/v1
kind: {{ .kind }}
metadata:
  name: {{ $name }}
  labels:
    {{- include "pando.labels" $root | nindent 4 }}
    app.kubernetes.io/component: {{ .component }}
spec:
  replicas: {{ .replicas }}
  {{- if $stateful }}
  serviceName: {{ $name }}
  # Members find each other before any of them is ready.
  podManagementPolicy: Parallel
  updateStrategy:
    type: RollingUpdate
  {{- else }}
  strategy:
    type: RollingUpdate
    rollingUpdate:
      maxUnavailable: 1
  {{- end }}
  selector:
    matchLabels:
      {{- include "pando.selector" $root | nindent 6 }}
      app.kubernetes.io/component: {{ .component }}
  template:
    metadata:
      labels:
        {{- include "pando.labels" $root | nindent 8 }}
        app.kubernetes.io/component: {{ .component }}
      annotations:
        {{- if .config }}
        checksum/config: {{ include (print $root.Template.BasePath "/config.yaml") $root | sha256sum }}
        {{- end }}
        {{- with $root.Values.podAnnotations }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
    spec:
      serviceAccountName: {{ include "pando.serviceAccount" $root }}
      automountServiceAccountToken: false
      {{- with $root.Values.imagePullSecrets }}
      imagePullSecrets:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with $root.Values.priorityClassName }}
      priorityClassName: {{ . }}
      {{- end }}
      securityContext:
        runAsNonRoot: true
        runAsUser: 65532
        runAsGroup: 65532
        fsGroup: 65532
        seccompProfile:
          type: RuntimeDefault
      affinity:
        podAntiAffinity:
          {{- if or (eq .component "all") (eq .component "ingester") (eq .component "controller") }}
          # Two replicas of one shard on one node would die together.
          requiredDuringSchedulingIgnoredDuringExecution:
            - topologyKey: kubernetes.io/hostname
              labelSelector:
                matchLabels:
                  {{- include "pando.selector" $root | nindent 18 }}
                  app.kubernetes.io/component: {{ .component }}
          {{- else }}
          preferredDuringSchedulingIgnoredDuringExecution:
            - weight: 100
              podAffinityTerm:
                topologyKey: kubernetes.io/hostname
                labelSelector:
                  matchLabels:
                    {{- include "pando.selector" $root | nindent 20 }}
                    app.kubernetes.io/component: {{ .component }}
          {{- end }}
      topologySpreadConstraints:
        - maxSkew: 1
          topologyKey: topology.kubernetes.io/zone
          whenUnsatisfiable: ScheduleAnyway
          labelSelector:
            matchLabels:
              {{- include "pando.selector" $root | nindent 14 }}
              app.kubernetes.io/component: {{ .component }}
      {{- with $root.Values.nodeSelector }}
      nodeSelector:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with $root.Values.tolerations }}
      tolerations:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      # Unready, drain, flush, stop: the last generation's upload may take a while.
      terminationGracePeriodSeconds: 120
      containers:
        - name: pando
          image: {{ printf "%s:%s" $root.Values.image.repository (default $root.Chart.AppVersion $root.Values.image.tag) }}
          imagePullPolicy: {{ $root.Values.image.pullPolicy }}
          args:
            - {{ .role }}
            - --web.listen-address=0.0.0.0:9090
            - --grpc.listen-address=0.0.0.0:9095
            - --grpc.advertise-address=$(POD_ADDRESS):9095
            - --cluster.zone=$(POD_ZONE)
            - --cluster.controllers={{ include "pando.controllers" $root }}
            - --storage.tsdb.path=/data
            - --log.level={{ $root.Values.log.level }}
            - --log.format={{ $root.Values.log.format }}
            {{- if and .store $secret }}
            - --objstore.config-file=/etc/pando/objstore/objstore.yml
            {{- end }}
            {{- if .config }}
            - --config.file=/etc/pando/config/prometheus.yml
            {{- end }}
            {{- range .args }}
            - {{ . }}
            {{- end }}
            {{- range .values.extraArgs }}
            - {{ . | quote }}
            {{- end }}
          env:
            - name: POD_NAME
              valueFrom:
                fieldRef:
                  fieldPath: metadata.name
            - name: POD_IP
              valueFrom:
                fieldRef:
                  fieldPath: status.podIP
            # Kubernetes copies it from the node since 1.35; before, it is empty, and all members are in one zone.
            - name: POD_ZONE
              valueFrom:
                fieldRef:
                  fieldPath: metadata.labels['topology.kubernetes.io/zone']
            - name: POD_ADDRESS
              {{- if $stateful }}
              value: $(POD_NAME).{{ $name }}.{{ $root.Release.Namespace }}.svc
              {{- else }}
              value: $(POD_IP)
              {{- end }}
          ports:
            - name: http
              containerPort: 9090
            - name: grpc
              containerPort: 9095
          startupProbe:
            httpGet:
              path: /-/healthy
              port: http
            periodSeconds: 5
            failureThreshold: 120
          readinessProbe:
            httpGet:
              path: /-/ready
              port: http
            periodSeconds: 5
          livenessProbe:
            httpGet:
              path: /-/healthy
              port: http
            periodSeconds: 15
            failureThreshold: 4
          securityContext:
            allowPrivilegeEscalation: false
            readOnlyRootFilesystem: true
            capabilities:
              drop: [ALL]
          {{- with .values.resources }}
          resources:
            {{- toYaml . | nindent 12 }}
          {{- end }}
          volumeMounts:
            - name: data
              mountPath: /data
            {{- if and .store $secret }}
            - name: objstore
              mountPath: /etc/pando/objstore
              readOnly: true
            {{- end }}
            {{- if .config }}
            - name: config
              mountPath: /etc/pando/config
              readOnly: true
            {{- end }}
      volumes:
        {{- if not .values.persistence }}
        - name: data
          emptyDir: {}
        {{- end }}
        {{- if and .store $secret }}
        - name: objstore
          secret:
            secretName: {{ $secret }}
        {{- end }}
        {{- if .config }}
        - name: config
          configMap:
            name: {{ $full }}-config
        {{- end }}
  {{- if .values.persistence }}
  volumeClaimTemplates:
    - metadata:
        name: data
      spec:
        accessModes: [ReadWriteOnce]
        {{- with .values.persistence.storageClass }}
        storageClassName: {{ . }}
        {{- end }}
        resources:
          requests:
            storage: {{ .values.persistence.size }}
  {{- end }}
---
apiVersion: v1
kind: Service
metadata:
  name: {{ $name }}
  labels:
    {{- include "pando.labels" $root | nindent 4 }}
    app.kubernetes.io/component: {{ .component }}
spec:
  clusterIP: None
  publishNotReadyAddresses: true
  selector:
    {{- include "pando.selector" $root | nindent 4 }}
    app.kubernetes.io/component: {{ .component }}
  ports:
    - name: http
      port: 9090
    - name: grpc
      port: 9095
      appProtocol: kubernetes.io/h2c
{{- if gt (int .replicas) 1 }}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ $name }}
  labels:
    {{- include "pando.labels" $root | nindent 4 }}
    app.kubernetes.io/component: {{ .component }}
spec:
  maxUnavailable: 1
  selector:
    matchLabels:
      {{- include "pando.selector" $root | nindent 6 }}
      app.kubernetes.io/component: {{ .component }}
{{- end }}
{{- end -}}
