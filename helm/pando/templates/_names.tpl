{{- define "pando.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "pando.selector" -}}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "pando.labels" -}}
{{ include "pando.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "pando.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "pando.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "pando.objstoreSecret" -}}
{{- if .Values.objectStore.existingSecret -}}
{{- .Values.objectStore.existingSecret -}}
{{- else if .Values.objectStore.config -}}
{{- include "pando.fullname" . }}-objstore
{{- end -}}
{{- end -}}

{{/* The gRPC addresses of the controllers: stable DNS names of a StatefulSet's pods. */}}
{{- define "pando.controllers" -}}
{{- $full := include "pando.fullname" . -}}
{{- $role := ternary "controller" "all" (eq .Values.size "distributed") -}}
{{- $count := 3 -}}
{{- if eq .Values.size "single" }}{{ $count = 1 }}{{ end -}}
{{- if eq .Values.size "distributed" }}{{ $count = int .Values.controller.replicas }}{{ end -}}
{{- $list := list -}}
{{- range $i := until $count -}}
{{- $list = append $list (printf "%s-%s-%d.%s-%s.%s.svc:9095" $full $role $i $full $role $.Release.Namespace) -}}
{{- end -}}
{{- join "," $list -}}
{{- end -}}
